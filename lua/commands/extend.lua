-- Extends a hold: the deadline moves to now + ttl, never earlier than it is, and never later
-- than the reservation's creation + the total cap.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, items in the batch (1..4096)
--   then per item: field, created ms, 'ttl:cap' (both ms)
-- Returns: flat array: now ms, n times (code, record or ''), then the terms of SKUs touched
--   MORE_DUE: this and what follows had more lines than one call moves; ask again
--@include codes
--@rules extend expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include act

local function extend(field, r, argument, rule)
  if type(rule) == 'number' then
    return rule
  end
  local ttl_ms, cap_ms = string.match(argument, '^(%d+):(%d+)$')
  local latest = math.min(NOW + ttl_ms, r.created + cap_ms)
  if latest <= r.deadline then
    return UNCHANGED
  end
  stage_record(field, with_deadline(r, rule, latest))
  return DONE
end

local reply = act(EXTEND_RULES, extend)
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
return append_skus(reply)
