"""GrowthCorp: four teams, each with workflows of its own, two of them of one name.

handlers            what a worker is given: the handlers of three teams
payments            refunds a payment, in two versions at once
customer_success    refunds a customer: checks, asks for approval, has payments do it
microservices       registers a user at four services: the diamond
inventory           takes goods back: a workflow in Python, with workers of its own
services            how handlers call other services
gateways            those services, simulated on a loopback port
story               what `tasker demo` runs
worker_process      a worker in a process of its own, to be killed
"""
