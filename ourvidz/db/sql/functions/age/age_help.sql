-- Builds a refusal's hint: the help page's address with the section's anchor, or p_else where no page is set.
create or replace function ourvidz.help(p_part text, p_at_page text, p_else text) returns text
language sql stable
as $$ select coalesce(p_at_page || ' ' || help_url || '#' || p_part, p_else) from ourvidz.policy $$;

create or replace function ourvidz.refuse_unverified(p_user uuid) returns void
language plpgsql
as $$
begin
  perform ourvidz.refuse_suspended(p_user);
  raise exception 'Profile % is not age-verified%: no job is made for it.', coalesce(p_user::text, '(none)'),
    case ourvidz.why_not_run(p_user) when 'expired' then ' any more (its verification has run out)' else '' end
    using errcode = 'OV010', hint = ourvidz.help('age', 'Have your age verified:', 'An operator verifies it: `ourvidz age verify`.');
end
$$;

-- Refuses to change or delete an age decision; only `how` may be blanked, when its user is erased.
create or replace function ourvidz.age_reviews_guard() returns trigger
language plpgsql
as $$
begin
  if tg_op = 'UPDATE' and (old.decision is null and new.user_id = old.user_id and new.asked_at = old.asked_at
                           or to_jsonb(new) - 'how' = to_jsonb(old) - 'how' and new.how is null) then
    return new;
  end if;
  raise exception 'A decision on an age is not changed: make another (ourvidz.verify_age).' using errcode = 'OV001';
end
$$;
