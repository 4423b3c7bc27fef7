-- Appends the weights that a sender gives separately (compel_weights, like "(sharp focus:1.2), (grain)0.8") to SDXL's prompt: as one text
-- it is screened, stored and erased like any prompt, and encoded like any weighted prompt (executors/models/sdxl_prompt.py).
create or replace function ourvidz.weighted_prompt(p_prompt text, p_chosen jsonb) returns text
language plpgsql immutable
as $$
declare
  v_weights constant text := trim(p_chosen->>'compel_weights');
begin
  if jsonb_typeof(p_chosen->'compel_weights') <> 'string' then
    raise exception 'compel_weights must be text.' using errcode = 'OV009', column = 'compel_weights';
  elsif exists (select from regexp_matches(v_weights, '(?::[[:space:]]*|[)])([0-9]+(?:[.][0-9]+)?|[.][0-9]+)', 'g') as m where m[1]::numeric > 2) then
    raise exception 'A weight in compel_weights is from 0 to 2.' using errcode = 'OV009', column = 'compel_weights';
  elsif length(p_prompt) + length(v_weights) > 3998 then
    raise exception 'The prompt and compel_weights may have 4,000 characters together.' using errcode = 'OV009', column = 'compel_weights';
  end if;
  return p_prompt || case when v_weights = '' then '' else ', ' || v_weights end;
end
$$;
