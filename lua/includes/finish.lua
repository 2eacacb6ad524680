-- The frame of commands that mirror the ledger's word back and acknowledge the outbox.
-- ARGV[2] = consumer group, ARGV[3] = n, then per item: outbox entry id, field.
local OUTBOX = KEYS[2]
local GROUP = ARGV[2]
local N = tonumber(ARGV[3])
local announced = {}

local function mirror(field, text, event, move)
  local r = parse_record(text)
  if not r then
    return INVARIANT_BREACH
  end
  local rule = TRANSITIONS[event][r.state]
  if type(rule) == 'number' then
    return rule
  end
  if not lines_are_sound(r, 'unsettled') then
    return INVARIANT_BREACH
  end
  move(r)
  r.state = rule
  r.deadline = NOW -- from here on: when it ended
  stage_record(field, format_record(r))
  stage_ended(field)
  announced[#announced + 1] = field
  return DONE
end

-- Runs move(r) for each confirmed reservation. Entries whose work is done are acknowledged and
-- removed; others stay pending. Replies now, n x code.
local function finish(event, move)
  local fields, done, reply = {}, {}, { NOW }
  for i = 1, N do
    fields[i] = ARGV[3 + 2 * i]
  end
  local records = redis.call('HMGET', RESERVATIONS, unpack(fields))
  for i = 1, N do
    local text = fresh[fields[i]] or records[i]
    local code = text and mirror(fields[i], text, event, move) or UNKNOWN_RESERVATION
    reply[i + 1] = code
    if code == DONE or code == UNCHANGED or code == UNKNOWN_RESERVATION then
      done[#done + 1] = ARGV[2 + 2 * i]
    end
  end
  local breach = commit()
  if breach then
    return redis.error_reply('INVARIANT ' .. breach)
  end
  if #done > 0 then
    redis.call('XACK', OUTBOX, GROUP, unpack(done))
    redis.call('XDEL', OUTBOX, unpack(done))
  end
  if #announced > 0 then
    redis.call('PUBLISH', PREFIX .. 'finished', event .. ':' .. table.concat(announced, ','))
  end
  return append_skus(reply)
end
