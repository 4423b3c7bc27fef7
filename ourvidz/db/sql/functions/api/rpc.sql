-- Runs one rpc of PostgREST: bounds the arguments, calls api_<verb> and returns its answer or its refusal. A refusal keeps its SQLSTATE for
-- SQL callers; PostgREST also gets an HTTP status, in the only form that it understands
-- (https://docs.postgrest.org/en/v12/references/errors.html).
create or replace function ourvidz.rpc(p_verb text, p_asked jsonb) returns jsonb
language plpgsql
as $$
declare
  v_answer jsonb;
  v_message text;
  v_detail text;
  v_hint text;
  v_field text;
begin
  if jsonb_typeof(p_asked) = 'object' then  -- our own ids come as an array
    perform ourvidz.check_values(p_asked);
  end if;
  execute format('select ourvidz.%I($1)', 'api_' || p_verb) into v_answer using p_asked;
  return v_answer;
exception when others then
  if not exists (select from ourvidz.refusals where name = sqlstate)
     or coalesce(current_setting('request.method', true), '') = '' then  -- a fault, not a refusal; or the caller is not PostgREST
    raise;
  end if;
  get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail, v_hint = pg_exception_hint, v_field = column_name;
  perform ourvidz.refuse_by_http(sqlstate, v_message, v_detail, v_hint, v_field);
end
$$;

create or replace function ourvidz.refuse_by_http(p_state text, p_message text, p_detail text, p_hint text, p_field text) returns void
language plpgsql
as $$
declare
  v_wait constant text := substring(p_detail from '^Retry after ([0-9]+) s');
begin
  raise sqlstate 'PGRST' using
    message = jsonb_build_object('code', p_state, 'message', p_message, 'hint', nullif(p_hint, ''),
                                 'details', coalesce(nullif(p_field, ''), nullif(p_detail, ''))),
    detail = jsonb_build_object('status', (select http from ourvidz.refusals where name = p_state), 'headers',
                                case when v_wait is null then '{}' else jsonb_build_object('Retry-After', v_wait) end);
end
$$;
