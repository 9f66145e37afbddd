-- The time of the store's clock. :now real
select :now as now
