-- The health that Argo CD shows for a HubConnection, a DeviceTwin, a DeviceTwinSet and a
-- TwinQuery: the same for all four, as their conditions keep the same conventions (docs/conditions.md).
local found = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    found[condition.type] = condition
  end
end

local ready = found["Ready"]
if ready == nil or ready.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not reconciled this generation yet" }
end

local status = "Progressing"
if found["Stalled"] ~= nil and found["Stalled"].status == "True" then
  status = "Degraded"
elseif found["Reconciling"] ~= nil and found["Reconciling"].status == "True" then
  status = "Progressing"
elseif ready.status == "True" then
  status = "Healthy"
elseif ready.status == "Unknown" and obj.spec.suspend then
  status = "Suspended"
end
return { status = status, message = ready.reason .. ": " .. ready.message }
