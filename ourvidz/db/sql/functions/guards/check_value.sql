-- Refuses a value that costs more to render than it took to send, before anything renders it: jsonb keeps 1e131000 in six bytes and prints
-- it in 131,000. Uses sizes, levels and comparisons; never prints an unchecked number. p_bytes: maximum size; p_field: its name.
create or replace function ourvidz.check_value(p jsonb, p_field text, p_bytes integer) returns void
language plpgsql immutable
as $$
begin
  if pg_column_size(p) > p_bytes then
    raise exception '% may have at most % bytes.', p_field, p_bytes using errcode = 'OV009', column = p_field;
  elsif jsonb_typeof(p) <> 'string' then
    if jsonb_path_exists(p, '$.**{20 to last}') then  -- JSON parsers of other languages fail at ten thousand
      raise exception '% may have at most 20 levels.', p_field using errcode = 'OV009', column = p_field;
    elsif exists (select from jsonb_path_query(p, 'strict $.** ? (@.type() == "number")') as one (n)
                  where abs(n::numeric) >= 1e310 or scale(n::numeric) > 360) then
      raise exception '% holds a number with more than 310 digits before its point or 360 behind it.', p_field
        using errcode = 'OV009', column = p_field;
    end if;
  end if;
  -- PostgREST casts on request (select=title::jsonb): such a number hidden in a text would be rendered then.
  if p::text ~* e'(^|[\\s,:\\[\\\\"])[-+]?([0-9][0-9_]*[.]?|[.][0-9])[0-9_]*e[-+]?[0-9_]{3,}($|[\\s,\\]}\\\\"])' then
    raise exception '% holds a number with an exponent of three digits or more.', p_field using errcode = 'OV009', column = p_field;
  end if;
end
$$;

-- Checks each member of an object (a row, or the arguments of a call), and all of them together.
create or replace function ourvidz.check_values(p jsonb) returns void
language plpgsql stable
as $$
declare
  v_limits ourvidz.limits;
  v_field text;
  v_value jsonb;
begin
  select * into v_limits from ourvidz.limits;
  for v_field, v_value in select * from jsonb_each(p) where value not in ('null', 'true', 'false') loop
    perform ourvidz.check_value(
      v_value, v_field, case when jsonb_typeof(v_value) in ('object', 'array') then v_limits.json_bytes else v_limits.text_bytes end);
  end loop;
  if pg_column_size(p) > v_limits.row_bytes then
    raise exception 'All values of a row or request together may have at most % bytes.', v_limits.row_bytes using errcode = 'OV009';
  end if;
end
$$;
