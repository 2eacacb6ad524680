-- Reservation records: one string each in the shard's reservations hash.
-- state|created_ms|deadline_ms|fingerprint|buyer|channel|payment_ref|lines
-- deadline_ms of settled and rejected ones: when they ended.
-- lines: sku*quantity[*counted[*from_safety]] joined by commas.
-- A step replaces the piece it changes, and keeps the rest of the text.

-- Appends one line to the record's array: sku, quantity, counted, from_safety.
local function add_line(r, part)
  local sku, quantity, counted, safety = string.match(part, '^([^*]+)%*(%d+)%*?(%d*)%*?(%d*)$')
  if not sku then
    return false
  end
  local n = r.n
  r[n + 1], r[n + 2], r[n + 3], r[n + 4] =
    sku, tonumber(quantity), counted == '1', safety == '' and 0 or tonumber(safety)
  r.n = n + 4
  return true
end

-- A record's parts, and its lines as an array of n values, four a line. nil when it cannot be
-- read: whoever asks leaves it alone.
local function parse_record(text)
  local state, created, deadline, after_deadline, buyer, ref, lines =
    string.match(text, '^([hpcsjrx])|(%d+)|(%d+)()|[^|]*|([^|]*)|[^|]*|([^|]*)|([^|]+)$')
  if not state then
    return nil
  end
  local r = { nil, nil, nil, nil, text = text, state = state, created = created,
    deadline = tonumber(deadline), after_deadline = after_deadline, buyer = buyer, ref = ref,
    lines_at = #text - #lines + 1, n = 0 }
  if not string.find(lines, ',', 1, true) then
    return add_line(r, lines) and r or nil
  end
  for part in string.gmatch(lines, '[^,]+') do
    if not add_line(r, part) then
      return nil
    end
  end
  return r.n > 0 and r or nil
end

-- The record in another state.
local function with_state(r, state)
  return state .. string.sub(r.text, 2)
end

local function with_deadline(r, state, deadline)
  return state .. '|' .. r.created .. '|' .. string.format('%.0f', deadline)
    .. string.sub(r.text, r.after_deadline)
end

local function format_lines(r)
  local parts = {}
  for i = 1, r.n, 4 do
    local text = r[i] .. '*' .. string.format('%.0f', r[i + 1])
    if r[i + 3] > 0 then
      text = text .. (r[i + 2] and '*1*' or '*0*') .. string.format('%.0f', r[i + 3])
    elseif r[i + 2] then
      text = text .. '*1'
    end
    parts[#parts + 1] = text
  end
  return table.concat(parts, ',')
end

-- lines: the text of the lines if they have changed.
local function with_payment(r, state, ref, lines)
  return state .. string.sub(r.text, 2, r.lines_at - #r.ref - 2) .. ref .. '|'
    .. (lines or string.sub(r.text, r.lines_at))
end
