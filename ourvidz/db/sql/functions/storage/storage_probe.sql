-- Returns the rows (their n) that a policy's expression allows, evaluated as this role with these claims; the rows need not exist. An
-- expression that fails allows nothing, as for a request. If this login may not become the role, it evaluates as itself.
create or replace function ourvidz.storage_probe(p_relation regclass, p_expression text, p_rows jsonb, p_role text, p_claims jsonb)
returns bigint[]
language plpgsql set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_role constant text := current_setting('role');
  v_claims constant text := coalesce(current_setting('request.jwt.claims', true), '');
  v_found bigint[] := '{}';
begin
  perform set_config('request.jwt.claims', p_claims::text, true);
  begin
    begin
      perform set_config('role', p_role, true);
    exception when insufficient_privilege then
      null;  -- a role of the database's own that this login is not a member of: only the claims decide
    end;
    -- The alias is the table's own name, by which a policy refers to its columns in subqueries.
    execute format('select coalesce(array_agg(ourvidz_n), ''{}'') from (select (ourvidz_row->>''n'')::bigint as ourvidz_n, ourvidz_row->''row'' '
                   'as ourvidz_one from jsonb_array_elements($1) as ourvidz_row) as ourvidz_rows '
                   'cross join lateral jsonb_populate_record(null::%1$s, ourvidz_one) as %2$I where %3$s',
                   p_relation, (select relname from pg_class where oid = p_relation), p_expression)
    into v_found using p_rows;
  exception when others then
    v_found := '{}';
    if jsonb_array_length(p_rows) > 1 then  -- of several rows only the failing ones are refused
      perform set_config('role', v_role, true);
      select coalesce(array_agg(n), '{}') into v_found
      from jsonb_array_elements(p_rows) as one,
           unnest(ourvidz.storage_probe(p_relation, p_expression, jsonb_build_array(one), p_role, p_claims)) as n;
    end if;
  end;
  perform set_config('role', v_role, true), set_config('request.jwt.claims', v_claims, true);
  return v_found;
end
$$;
