"""Templates: YAML in two dialects, JSON and Python in; the same frozen `Template` out.

    load      files, texts, documents    source | json_nodes -> reading -> core | rails -> assemble
    document  the form templates are stored in: the core dialect as JSON
    stored    the same read back, without the checks that it passed
    dump      templates as YAML
    schema    contexts and results against the JSON Schemas that templates carry

All problems of a template are reported at once, each with file, line and column.
"""
