-- All that is kept of a SKU, as commands tell it: 14 values.

-- Appends sku, on_hand, available, held, unsettled, safety_stock, sold (units), version,
-- buyer_limit (units), hold ttl ms, sale starts ms, sale ends ms, move_seq, fuse requests/s.
local function append_facts(reply, s)
  local kept = settings_of(s) or {}
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = s.sku, s.on_hand, s.available
  reply[n + 4], reply[n + 5], reply[n + 6] = s.held, s.unsettled, s.safety_stock
  reply[n + 7], reply[n + 8] = s.sold, s.version
  reply[n + 9], reply[n + 10] = kept.buyer_limit or 0, kept.hold_ttl_ms or 0
  reply[n + 11], reply[n + 12] = kept.sale_starts_ms or 0, kept.sale_ends_ms or 0
  reply[n + 13] = tonumber(call('HGET', PREFIX .. 'sku:' .. s.sku, 'move_seq') or 0) or 0
  reply[n + 14] = kept.fuse_rps or 0
end
