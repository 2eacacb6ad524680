-- Counts a failed try of outbox entries, durably, and says when each is to be tried again.
-- Kept as 'tries|first ms|last ms|due ms|reason' under the entry's id in the shard's 'faults' hash.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, entries in the batch (1..4096)
--   then per entry: entry id, tries counted before this one, pause in ms, reason
-- Returns: flat array: now ms, n times (tries, first ms, due ms). Somebody who counted the same
--   try first is not counted again; 0 tries: the entry is no longer in the outbox.
--@include shard

local OUTBOX = KEYS[2]
local N = tonumber(ARGV[2])
local FAULTS = PREFIX .. 'faults'

local function whole(number)
  return string.format('%.0f', number)
end

local function note(id, before, pause_ms, reason)
  if #call('XRANGE', OUTBOX, id, id) == 0 then
    call('HDEL', FAULTS, id)
    return 0, 0, 0
  end
  local kept = call('HGET', FAULTS, id) or ''
  local tries, first, _, due = string.match(kept, '^(%d+)|(%d+)|(%d+)|(%d+)|')
  tries = tonumber(tries) or 0
  if tries ~= before then
    return tries, tonumber(first), tonumber(due)
  end
  first = tonumber(first) or NOW
  call('HSET', FAULTS, id, table.concat(
    { whole(tries + 1), whole(first), whole(NOW), whole(NOW + pause_ms), reason }, '|'))
  return tries + 1, first, NOW + pause_ms
end

local reply = { NOW }
for i = 1, N do
  local at = 4 * i - 1
  local tries, first, due =
    note(ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3])
  reply[#reply + 1] = tries
  reply[#reply + 1] = first
  reply[#reply + 1] = due
end
return reply
