"""What tests of every kind share: real servers, and how to find them."""
