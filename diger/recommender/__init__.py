"""The recommenders: SID backbones behind one interface, and the baselines."""
