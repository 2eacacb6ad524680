-- Forgets reservations that ended long ago, with their keys and payment references; a bounded
-- number a call.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] retention, ms
--   ARGV[3] most reservations to look at (1..4096)
-- Returns: flat array: now ms, reservations looked at, reservations forgotten
--@include shard

local STEP_MS = 60000
local LIMIT = tonumber(ARGV[3])
local OLDEST = NOW - ARGV[2]

-- An expired reservation that was paid late has ended twice: the later end counts.
local function is_over(record)
  local state, deadline = string.match(record, '^([sjrx])|%d+|(%d+)|')
  if state == 's' or state == 'j' then
    return tonumber(deadline) <= OLDEST
  end
  return state ~= nil
end

local function ref_of(record)
  return string.match(record, '^[^|]*|[^|]*|[^|]*|[^|]*|[^|]*|[^|]*|([^|]*)|') or ''
end

-- A reference may have bought another reservation since: then it stays.
local function forget_refs(refs, fields)
  local owners = call('HMGET', PREFIX .. 'refs', unpack(refs))
  for i, ref in ipairs(refs) do
    if owners[i] == fields[i] then
      call('HDEL', PREFIX .. 'refs', ref)
    end
  end
end

local oldest = call('ZRANGEBYSCORE', PREFIX .. 'ended', '-inf',
  math.floor(OLDEST / STEP_MS), 'LIMIT', 0, 1)[1]
if not oldest then
  return { NOW, 0, 0 }
end
local list = PREFIX .. 'ended:' .. oldest
local fields = call('LRANGE', list, 0, LIMIT - 1)
local gone, refs = {}, {}
if #fields > 0 then
  local records = call('HMGET', RESERVATIONS, unpack(fields))
  for i, field in ipairs(fields) do
    if records[i] and is_over(records[i]) then
      gone[#gone + 1] = field
      refs[#refs + 1] = ref_of(records[i])
    end
  end
end
if #gone > 0 then
  call('HDEL', RESERVATIONS, unpack(gone))
  forget_refs(refs, gone)
end
if #fields < LIMIT then
  call('DEL', list)
  call('ZREM', PREFIX .. 'ended', oldest)
else
  call('LTRIM', list, LIMIT, -1)
end
return { NOW, #fields, #gone }
