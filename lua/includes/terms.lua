-- Terms of leases: one string each in a hash, by lease name: ends_ms|token|owner.
-- A term is over at its end, whether or not it is still written down.
local TERMS = KEYS[1]

-- ARGV[1] > 0 replaces the clock (tests); otherwise Redis's own time, ms since the epoch.
local function lease_clock()
  local given = tonumber(ARGV[1])
  if given > 0 then
    return given
  end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local NOW = lease_clock()

-- The term a text stands for while it lasts; nil when there is none.
local function live_term(text)
  local ends, token, owner = string.match(text or '', '^(%d+)|(%d+)|(.+)$')
  ends = tonumber(ends)
  if not ends or ends <= NOW then
    return nil
  end
  return { ends = ends, token = token, owner = owner }
end

local function term_of(name)
  return live_term(redis.call('HGET', TERMS, name))
end

-- The term of `name` if it is this owner's under this very token; nil otherwise.
local function own_term(name, owner, token)
  local term = term_of(name)
  return term and term.owner == owner and term.token == token and term or nil
end

local function write_term(name, owner, token, ends)
  redis.call('HSET', TERMS, name, string.format('%.0f', ends) .. '|' .. token .. '|' .. owner)
end
