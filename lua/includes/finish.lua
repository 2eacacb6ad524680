-- The frame of commands that mirror the ledger's word back and acknowledge the outbox.
-- ARGV[2] = consumer group, ARGV[3] = n, then per item: outbox entry id, field.
local announced = {}

local function mirror(field, text, rules, move)
  local r = parse_record(text)
  if not r then
    return INVARIANT_BREACH
  end
  local rule = rules[r.state]
  if type(rule) == 'number' then
    return rule
  end
  if not lines_are_sound(r, 'unsettled') then
    return unsound_code(r)
  end
  move(r)
  stage_record(field, with_deadline(r, rule, NOW)) -- from here on: when it ended
  add_field(ended_adds, field)
  announced[#announced + 1] = field
  return DONE
end

local function acknowledge(done)
  local outbox = KEYS[2]
  call('XACK', outbox, ARGV[2], unpack(done))
  call('XDEL', outbox, unpack(done))
end

-- Runs move(r) for each confirmed reservation. Entries whose work is done are acknowledged and
-- removed; others stay pending. Replies now, n x code.
local function finish(event, rules, move)
  local n = tonumber(ARGV[3])
  local fields, done, reply = {}, {}, { NOW }
  for i = 1, n do
    fields[i] = ARGS[3 + 2 * i]
  end
  local records = call('HMGET', RESERVATIONS, unpack(fields))
  for i = 1, n do
    local text = fresh[fields[i]] or records[i]
    local code = text and mirror(fields[i], text, rules, move) or UNKNOWN_RESERVATION
    reply[i + 1] = code
    if code == DONE or code == UNCHANGED or code == UNKNOWN_RESERVATION then
      done[#done + 1] = ARGS[2 + 2 * i]
    end
  end
  local breach = commit()
  if breach then
    return redis.error_reply('INVARIANT ' .. breach)
  end
  if #done > 0 then
    acknowledge(done)
  end
  if #announced > 0 then
    call('PUBLISH', PREFIX .. 'finished', event .. ':' .. table.concat(announced, ','))
  end
  return append_skus(reply)
end
