"""Fine-R1 (He et al., ICLR 2026): chain-of-thought fine-tuning, then triplet augmented policy optimisation (TAPO).

In the order of the paper; ``pipeline.py`` puts them together:

====================  =============================================================================================
seen and unseen       ``shots.py``
reasoning data        ``concepts.py``, ``reasoning_prompts.py``, ``reasoning.py``, ``reasoning_filters.py``,
                      ``rationales.py``; ``composed.py`` for a teacher that cannot follow the prompt
triplets              ``triplets.py``, ``mining.py``, ``triplets_files.py``
rewards               ``rewards.py``, ``answers.py``
TAPO                  ``tapo.py`` (the objective), ``tapo_terms.py``, ``tapo_settings.py``
the loop              ``policy.py``: ``rollouts.py``, ``dynamic.py`` ask, ``update.py`` learns, ``monitor.py`` watches
examination           ``closed.py``, ``open_world.py``, ``similarity.py``, ``contrastive.py``, ``evaluation.py``
====================  =============================================================================================
"""
