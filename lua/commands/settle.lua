-- Mirrors committed deductions: confirmed -> settled, units leave on_hand; the outbox entries
-- are acknowledged and removed, and 'settle:field,...' is published on '<prefix>finished'.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] consumer group
--   ARGV[3] n, items in the batch (1..4096)
--   then per item: outbox entry id, field
-- Returns: flat array: now ms, n times code, then the terms of each SKU touched
--@include codes
--@include transitions
--@include shard
--@include stock
--@include records
--@include deadlines
--@include moves
--@include finish

local function deduct(r)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    s.unsettled = s.unsettled - line.quantity
    s.on_hand = s.on_hand - line.quantity
    s.sold = s.sold + line.quantity
    s.dirty = true
  end
end

return finish('settle', deduct)
