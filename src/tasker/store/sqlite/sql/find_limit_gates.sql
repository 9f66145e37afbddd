-- Gates by key. :namespaces text, :keys text (JSON lists), :now real
select g.id, g.namespace, g.key, g.declared_by, g.used_at < :now - 86400 as unused
from json_each(:namespaces) as n
join gate g on g.namespace = n.value and g.key = json_extract(:keys, '$[' || n.key || ']')
