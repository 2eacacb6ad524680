-- Removes what is left of settlers that are gone: consumers without pending entries that were not
-- heard of for long, and notes about entries that are no longer in the outbox.
-- A consumer that is removed by mistake loses nothing: its next read makes it anew.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] consumer group
--   ARGV[3] silence after which a consumer is gone, ms
--   ARGV[4] at most so many consumers, and so many notes, are looked at
-- Returns: flat array: now ms, number of consumers removed, number of notes removed
--@include shard

local OUTBOX, GROUP = KEYS[2], ARGV[2]
local SILENCE_MS = tonumber(ARGV[3])
local LIMIT = tonumber(ARGV[4])
local FAULTS = PREFIX .. 'faults'

local function facts(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end

local consumers = 0
for _, flat in ipairs(call('XINFO', 'CONSUMERS', OUTBOX, GROUP)) do
  local consumer = facts(flat)
  if consumers < LIMIT and consumer.pending == 0 and consumer.idle >= SILENCE_MS then
    call('XGROUP', 'DELCONSUMER', OUTBOX, GROUP, consumer.name)
    consumers = consumers + 1
  end
end

local notes = 0
for _, id in ipairs(call('HRANDFIELD', FAULTS, LIMIT) or {}) do
  if #call('XRANGE', OUTBOX, id, id) == 0 then
    notes = notes + call('HDEL', FAULTS, id)
  end
end
return { NOW, consumers, notes }
