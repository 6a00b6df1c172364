"""The rules of `refacer finetune --rule`: a module a rule, named in refacer/options.py: RULES."""
