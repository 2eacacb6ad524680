from tests.sale.fixtures import any_sale, real_sale, sale, valkey_url

__all__ = ["any_sale", "real_sale", "sale", "valkey_url"]
