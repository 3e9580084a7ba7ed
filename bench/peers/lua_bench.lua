-- The workloads of coir_bench that Lua's coroutines can run, under the same names: lua lua_bench.lua [WORKLOAD...].
local wrap, yield, resume, create, clock = coroutine.wrap, coroutine.yield, coroutine.resume, coroutine.create, os.clock

local function report(name, seconds, count) print(string.format("%s %.5g ns", name, seconds * 1e9 / count)) end

local function timed(name, count, f)
  local begin = clock()
  f()
  report(name, clock() - begin, count)
end

local function ones(count)
  return wrap(function() for _ = 1, count do yield(1) end end)
end

local function sum_of(g)
  local sum = 0
  for v in g do sum = sum + v end
  return sum
end

local function walk(levels)
  if levels == 0 then return end
  walk(levels - 1)
  yield(1)
  walk(levels - 1)
end

local workloads = {}

function workloads.generator()
  local count, levels = 20000000, 19
  timed("generator", count, function() assert(sum_of(ones(count)) == count) end)
  local values = 2 ^ levels - 1
  timed("generator_tree", values, function() assert(sum_of(wrap(function() walk(levels) end)) == values) end)
  timed("generator_create", count / 20, function() for _ = 1, count / 20 do assert(sum_of(ones(1)) == 1) end end)
end

-- A loop that resumes each in turn: a switch there and one back for each yield.
function workloads.yield()
  for _, n in ipairs { 2, 200, 1000 } do
    local turns, all = math.floor(5000000 / n), {}
    for i = 1, n do
      all[i] = create(function() for _ = 1, turns do yield() end end)
    end
    timed("yield_" .. n .. "_t1", n * turns, function()
      for _ = 1, turns do
        for i = 1, n do resume(all[i]) end
      end
    end)
  end
end

function workloads.spawn_join()
  local count = 1000000
  timed("spawn_join_t1", count, function() for _ = 1, count do resume(create(function() end)) end end)
end

local wanted = {}
for _, word in ipairs(arg) do
  if word:sub(1, 2) ~= "--" then wanted[#wanted + 1] = word end
end
if #wanted == 0 then wanted = { "yield", "spawn_join", "generator" } end
for _, name in ipairs(wanted) do
  if workloads[name] then workloads[name]() end
end
