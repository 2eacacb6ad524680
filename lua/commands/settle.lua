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
--@rules settle expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include finish

local function deduct(r)
  for i = 1, r.n, 4 do
    local s, quantity = skus[r[i]], r[i + 1]
    s.unsettled = s.unsettled - quantity
    s.on_hand = s.on_hand - quantity
    s.sold = s.sold + quantity
    s.dirty = true
  end
end

return finish('settle', SETTLE_RULES, deduct)
