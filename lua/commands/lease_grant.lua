-- Grants a lease that nobody holds, with a token above every one known.
--
-- KEYS:
--   KEYS[1] terms hash of the leases
--   KEYS[2] tokens hash of the leases: the last token granted, by lease name
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name
--   ARGV[3] owner, unique to this attempt
--   ARGV[4] how long the term lasts, ms
--   ARGV[5] floor: the highest token known elsewhere, a number below 2^53
-- Returns: flat array: now ms, code, owner, token, ms that remain of the term: ours (DONE) or the
--   holder's (LEASE_TAKEN)
--@include codes
--@include terms

local NAME, OWNER, TTL = ARGV[2], ARGV[3], tonumber(ARGV[4])
local held = term_of(NAME)
if held then
  return { NOW, LEASE_TAKEN, held.owner, tonumber(held.token), held.ends - NOW }
end
local last = tonumber(redis.call('HGET', KEYS[2], NAME) or 0) or 0
local token = math.max(last, tonumber(ARGV[5])) + 1
if token >= 9007199254740992 then
  return redis.error_reply('LEASE tokens of ' .. NAME .. ' have come to their end')
end
local text = string.format('%.0f', token)
redis.call('HSET', KEYS[2], NAME, text)
write_term(NAME, OWNER, text, NOW + TTL)
return { NOW, DONE, OWNER, token, TTL }
