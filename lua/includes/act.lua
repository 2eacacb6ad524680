-- The frame of commands that move reservations one step on a caller's behalf.
-- ARGV[2] = n, then three values per item: field, created ms, and the command's own argument.
local N = tonumber(ARGV[2])

local function read_items()
  local fields = {}
  for i = 1, N do
    fields[i] = ARGV[3 * i]
  end
  return fields, redis.call('HMGET', RESERVATIONS, unpack(fields))
end

-- Runs step(field, r, argument, rule) -> code for each item; `rule` is the table's word for the
-- state the reservation is in now, its deadline considered. Replies now, n x (code, record).
local function act(event, step)
  local fields, records = read_items()
  local reply = { NOW }
  for i = 1, N do
    local field, created, argument = fields[i], ARGV[3 * i + 1], ARGV[3 * i + 2]
    local text = fresh[field] or records[i]
    local code = UNKNOWN_RESERVATION
    if text then
      local r = parse_record(text)
      if not r then
        code = INVARIANT_BREACH
      elseif r.created ~= created then
        text = nil
      elseif is_due(r) and not expire(field, r) then
        code = INVARIANT_BREACH
      else
        code = step(field, r, argument, TRANSITIONS[event][r.state])
      end
    end
    reply[2 * i] = code
    reply[2 * i + 1] = text and (fresh[field] or text) or ''
  end
  return reply
end
