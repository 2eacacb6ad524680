-- Releases held units before their deadline: held | paying -> released.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, items in the batch (1..4096)
--   then per item: field, created ms, '' (unused)
-- Returns: flat array: now ms, n times (code, record or ''), then the terms of SKUs touched
--   MORE_DUE: this and what follows had more lines than one call moves; ask again
--@include codes
--@rules release expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include act

local function release(field, r, _, rule)
  if type(rule) == 'number' then
    return rule
  end
  if not lines_are_sound(r, 'held') then
    return unsound_code(r)
  end
  give_back(field, r, rule)
  return DONE
end

local reply = act(RELEASE_RULES, release)
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
return append_skus(reply)
