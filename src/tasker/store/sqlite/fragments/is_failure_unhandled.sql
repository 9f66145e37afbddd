-- Whether the failure of {step} fails its task: it did not reach all of its children.
({step}.on_error is null or exists (
    select 1 from json_each({step}.children) c where c.value not in (select value from json_each({step}.on_error))
))
