-- Make the first secret that signs tickets. Several processes may at once: one of them does.
insert into signing_key (id) values (1) on conflict do nothing
