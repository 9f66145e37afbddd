"""Templates: YAML in two dialects, JSON and Python in; the same frozen `Template` out.

    load      files, texts, documents    source | json_nodes -> reading -> core | rails -> assemble
    document  the form templates are stored in: the core dialect as JSON
    stored reads stored templates, without repeating their checks dump templates as YAML schema
    checks contexts and results against the JSON Schemas in templates

All problems of a template are reported at once, each with file, line and column.
"""
