"""What infrastructure as code says: states, the resources in them, what changed, what hangs on what. Pure.

addresses         the names of resources and modules, with their instance keys
exact_json        JSON without a digit lost, and the one text of a value
documents         what kind of document a stored body is
skimming          the outline of a large body
locking           what a request to a state may do, given its lock and its head
snapshot          the resources of one state, whichever tool wrote it
terraform_state   a Terraform state as a snapshot of resources
pulumi_state      an exported Pulumi stack as a snapshot, and its edges
plans             what a plan of Terraform predicts
redaction         what must not leave the encrypted body, and what stands in its place
uids              who a resource is, whatever its address
patches           RFC 6902 between two values, and hashes of values
events            two snapshots to events
edges             what depends on what
"""
