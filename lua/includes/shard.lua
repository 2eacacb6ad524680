-- The shard a script works on: its key prefix and the clock of stock.
-- KEYS[1] is always the shard's reservations hash; every other key shares its tag.
local call = redis.call
local ARGS = ARGV
local RESERVATIONS = KEYS[1]
local PREFIX = string.match(RESERVATIONS, '^{[^}]*}:')

-- ARGV[1] > 0 replaces the clock (tests); otherwise Redis's own time, ms since the epoch.
local NOW = tonumber(ARGV[1])
if NOW <= 0 then
  local t = call('TIME')
  NOW = t[1] * 1000 + math.floor(t[2] / 1000)
end
