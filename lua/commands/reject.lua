-- Mirrors refused deductions: confirmed -> rejected, units go back where they came from; the
-- outbox entries are acknowledged and removed, and 'reject:field,...' is published on '<prefix>finished'.
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
--@rules reject expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include finish

local function undo(r)
  move_units(r, 'unsettled', 'available', -1)
  for i = 1, r.n, 4 do
    local s, from_safety = skus[r[i]], r[i + 3]
    s.available = s.available - from_safety
    s.safety_stock = s.safety_stock + from_safety
  end
end

return finish('reject', REJECT_RULES, undo)
