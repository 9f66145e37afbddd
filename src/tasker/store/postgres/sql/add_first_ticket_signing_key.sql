-- Create the first secret that signs tickets, unless another process already has.
insert into signing_key (id) overriding system value values (1) on conflict do nothing
