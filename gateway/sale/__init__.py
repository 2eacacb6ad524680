"""The rules of a sale: reservations, the micro-batcher, snapshots, the catalogue."""
