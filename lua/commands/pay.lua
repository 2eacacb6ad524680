-- Begins payment: held -> paying, and the deadline moves once to the payment window.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, items in the batch (1..4096)
--   then per item: field, created ms, payment window ms
-- Returns: flat array: now ms, n times (code, record or ''), then the terms of SKUs touched
--   MORE_DUE: this and what follows had more lines than one call moves; ask again
--@include codes
--@rules pay expire
--@include shard
--@include stock
--@include writes
--@include records
--@include moves
--@include act

local function begin_payment(field, r, window_ms, rule)
  if type(rule) == 'number' then
    return rule
  end
  stage_record(field, with_deadline(r, rule, math.max(r.deadline, NOW + tonumber(window_ms))))
  return DONE
end

local reply = act(PAY_RULES, begin_payment)
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
return append_skus(reply)
