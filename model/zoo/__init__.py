"""The systems of the paper's Table 1 beside HVPNeT, a file each; `model/contract.py` says how."""
