"""`refacer finetune`: a run of training in its folder. `run` is the frame, `style` what is trained in it."""
