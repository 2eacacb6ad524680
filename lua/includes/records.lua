-- Reservation records: one string each in the shard's reservations hash.
-- state|created_ms|deadline_ms|fingerprint|buyer|channel|payment_ref|lines
-- deadline_ms of settled and rejected ones: when they ended.
-- lines: sku*quantity[*counted[*from_safety]] joined by commas.
local record_writes = {} -- field, record, field, record ...
local record_writes_n = 0
local fresh = {}         -- field -> record written by this script

-- nil when it cannot be read.
local function parse_lines(text)
  local lines = {}
  for part in string.gmatch(text, '[^,]+') do
    local sku, quantity, counted, safety = string.match(part, '^([^*]+)%*(%d+)%*?(%d*)%*?(%d*)$')
    if not sku then
      return nil
    end
    lines[#lines + 1] = { sku = sku, quantity = tonumber(quantity), counted = counted == '1',
      from_safety = tonumber(safety) or 0 }
  end
  return lines
end

-- nil when it cannot be read: whoever asks leaves it alone.
local function parse_record(text)
  local state, created, deadline, fp, buyer, channel, ref, lines =
    string.match(text, '^([hpcsjrx])|(%d+)|(%d+)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]+)$')
  lines = state and parse_lines(lines)
  if not lines then
    return nil
  end
  return { state = state, created = created, deadline = tonumber(deadline), fp = fp,
    buyer = buyer, channel = channel, ref = ref, lines = lines }
end

local function format_line(line)
  if line.from_safety > 0 then
    return line.sku .. '*' .. line.quantity .. (line.counted and '*1*' or '*0*')
      .. line.from_safety
  end
  return line.sku .. '*' .. line.quantity .. (line.counted and '*1' or '')
end

local function format_record(r)
  local lines = {}
  for i, line in ipairs(r.lines) do
    lines[i] = format_line(line)
  end
  return table.concat({ r.state, r.created, string.format('%.0f', r.deadline), r.fp, r.buyer,
    r.channel, r.ref, table.concat(lines, ',') }, '|')
end

local function stage_record(field, text)
  local n = record_writes_n
  record_writes[n + 1], record_writes[n + 2] = field, text
  record_writes_n = n + 2
  fresh[field] = text
end

local function write_records()
  call_in_pieces('HSET', RESERVATIONS, record_writes, record_writes_n)
end
