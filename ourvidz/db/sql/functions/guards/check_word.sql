-- Refuses an executor's error detail that is not one word: events cannot be erased, and a sentence could hold what a person wrote. The
-- sentence goes to the payload.
create or replace function ourvidz.check_word(p_word text, p_field text) returns void
language plpgsql immutable
as $$
begin
  if p_word ~ '^[a-z0-9_]{1,40}$' is not true then
    raise exception 'What an event says must be one word of at most 40 small letters, digits and underscores; % is not.', p_field
      using errcode = 'OV009', column = p_field;
  end if;
end
$$;
