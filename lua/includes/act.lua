-- The frame of commands that move reservations one step on a caller's behalf.
-- ARGV[2] = n, then three values per item: field, created ms, and the command's own argument.

-- Runs step(field, r, argument, rule) -> code for each item; `rule` is the table's word for the
-- state the reservation is in now, its deadline considered. Items for which this script would
-- move too many lines are left for another: MORE_DUE. Replies now, n x (code, record).
local function act(rules, step)
  local n = tonumber(ARGV[2])
  local fields = {}
  for i = 1, n do
    fields[i] = ARGS[3 * i]
  end
  local records = call('HMGET', RESERVATIONS, unpack(fields))
  local reply = { NOW }
  for i = 1, n do
    local field = fields[i]
    local text = fresh[field] or records[i]
    local code = UNKNOWN_RESERVATION
    if moved_lines >= LINES_MAX then
      code, text = MORE_DUE, nil
    elseif text then
      local r = parse_record(text)
      if not r then
        code = INVARIANT_BREACH
      elseif r.created ~= ARGS[3 * i + 1] then
        text = nil
      elseif is_due(r) then
        code = expire(field, r)
          and step(field, parse_record(fresh[field]), ARGS[3 * i + 2], rules.x)
          or unsound_code(r)
      else
        code = step(field, r, ARGS[3 * i + 2], rules[r.state])
      end
    end
    reply[2 * i] = code
    reply[2 * i + 1] = text and (fresh[field] or text) or ''
  end
  return reply
end
