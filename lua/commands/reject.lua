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
--@include transitions
--@include shard
--@include stock
--@include records
--@include deadlines
--@include moves
--@include finish

local function undo(r)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    s.unsettled = s.unsettled - line.quantity
    s.safety_stock = s.safety_stock + line.from_safety
    s.available = s.available + line.quantity - line.from_safety
    s.dirty = true
  end
  uncount(r)
end

return finish('reject', undo)
