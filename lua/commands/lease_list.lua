-- Reads the terms that have not ended: of one lease, or of all.
--
-- KEYS:
--   KEYS[1] terms hash of the leases
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] lease name ('': all)
-- Returns: flat array: now ms, then per term: lease name, owner, token, ms that remain
--@include terms

local function texts()
  if ARGV[2] ~= '' then
    return { ARGV[2], redis.call('HGET', TERMS, ARGV[2]) or '' }
  end
  return redis.call('HGETALL', TERMS)
end

local flat, reply = texts(), { NOW }
for i = 1, #flat, 2 do
  local term = live_term(flat[i + 1])
  if term then
    local n = #reply
    reply[n + 1], reply[n + 2] = flat[i], term.owner
    reply[n + 3], reply[n + 4] = tonumber(term.token), term.ends - NOW
  end
end
return reply
