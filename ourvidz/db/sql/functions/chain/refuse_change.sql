-- Refuses changes to events and token entries, and deletion of them or of jobs: the history is the product.
create or replace function ourvidz.refuse_change() returns trigger
language plpgsql
as $$
begin
  raise exception '% on %.% is refused: it is append-only.', tg_op, tg_table_schema, tg_table_name
    using errcode = 'OV003', hint = coalesce(tg_argv[0], 'To take a person''s words away, erase the payload; the events hold none.');
end
$$;
