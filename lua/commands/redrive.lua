-- Puts a confirmed reservation into the outbox again, once a token: a dead letter's second chance.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] field of the reservation
--   ARGV[3] when it was created, ms since the epoch
--   ARGV[4] token of this chance
-- Returns: flat array: now ms, code, record or ''
--   DONE: it is on its way; UNCHANGED: it was put there with this token before
--   ILLEGAL: it is not confirmed (its record says what it is)
--   UNKNOWN_RESERVATION, INVARIANT_BREACH: there is no such record, or it cannot be read
--@include codes
--@rules settle
--@include shard
--@include records

local OUTBOX = KEYS[2]
local FIELD = ARGV[2]
local TOKENS = PREFIX .. 'redriven'

local function redrive(text)
  local r = parse_record(text)
  if not r then
    return INVARIANT_BREACH
  end
  if r.created ~= ARGV[3] then
    return UNKNOWN_RESERVATION
  end
  if type(SETTLE_RULES[r.state]) ~= 'string' then
    call('HDEL', TOKENS, FIELD)
    return ILLEGAL
  end
  if call('HGET', TOKENS, FIELD) == ARGV[4] then
    return UNCHANGED
  end
  call('HSET', TOKENS, FIELD, ARGV[4])
  call('XADD', OUTBOX, '*', 'r', FIELD .. '|' .. text)
  return DONE
end

local text = call('HGET', RESERVATIONS, FIELD)
if not text then
  call('HDEL', TOKENS, FIELD)
  return { NOW, UNKNOWN_RESERVATION, '' }
end
return { NOW, redrive(text), text }
