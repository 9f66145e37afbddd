-- Whether the failure of {step} fails its task: it did not reach all of its children.
not {step}.children <@ coalesce({step}.on_error, '{}')
