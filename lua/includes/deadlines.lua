-- Deadlines: fields in lists of 100 ms, and a sorted set of the lists that exist.
-- An entry is only a reminder, one a hold: the record's own deadline decides. Ending a reservation
-- leaves its entry to be dropped when its list comes due; a deadline only moves later, so one that
-- moved is found then, and listed again.
local DUE_STEP_MS = 100
local ENDED_STEP_MS = 60000

local due_adds = {}   -- bucket -> fields
local ended_adds = { n = 0 } -- fields that ended in this script

-- The fields this script adds to the list in which `deadline` falls.
local function due_list(deadline)
  local bucket = math.ceil(deadline / DUE_STEP_MS)
  local fields = due_adds[bucket]
  if not fields then
    fields = { n = 0 }
    due_adds[bucket] = fields
  end
  return fields
end

local function add_field(fields, field)
  local n = fields.n + 1
  fields[n], fields.n = field, n
end

local function stage_due(field, deadline)
  add_field(due_list(deadline), field)
end

local function stage_ended(field)
  add_field(ended_adds, field)
end

local function push_bucket(index, bucket, fields)
  local name = string.format('%.0f', bucket)
  redis.call('ZADD', PREFIX .. index, bucket, name)
  call_in_pieces('RPUSH', PREFIX .. index .. ':' .. name, fields, fields.n)
end

local function write_deadlines()
  for bucket, fields in pairs(due_adds) do
    push_bucket('due', bucket, fields)
  end
  if ended_adds.n > 0 then
    push_bucket('ended', math.ceil(NOW / ENDED_STEP_MS), ended_adds)
  end
end
