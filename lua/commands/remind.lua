-- Writes down again that holds are due, for those whose reminder is lost: the next sweep expires
-- them. A reminder too many does no harm.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name
--   ARGV[3] the lease's token
--   ARGV[4..n] fields of reservations (1..4096)
-- Returns: flat array: now ms, code: DONE; STALE_FENCE: a later holder of the lease was seen
--@include codes
--@include shard
--@include stock
--@include writes
--@include fence

if refuse_stale(ARGV[2], tonumber(ARGV[3])) then
  return { NOW, STALE_FENCE }
end
for i = 4, #ARGV do
  add_field(due_list(NOW), ARGV[i])
end
commit()
return { NOW, DONE }
