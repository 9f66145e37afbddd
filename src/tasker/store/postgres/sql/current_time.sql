-- The time of the store's clock.
select now() as now
