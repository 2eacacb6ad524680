-- The shard a script works on: its key prefix and the clock of stock.
-- KEYS[1] is always the shard's reservations hash; every other key shares its tag.
local RESERVATIONS = KEYS[1]
local PREFIX = string.match(RESERVATIONS, '^{[^}]*}:')

-- ARGV[1] > 0 replaces the clock (tests); otherwise Redis's own time, ms since the epoch.
local function read_clock()
  local given = tonumber(ARGV[1])
  if given > 0 then
    return given
  end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local NOW = read_clock()
