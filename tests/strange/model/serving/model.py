class Model:
    def __init__(self, weight, name):
        self.weight, self.name = weight, name

    def predict(self, points):
        return self.weight * points.sum(axis=1)


def _load_pyfunc(path, config):
    with open(path) as file:
        return Model(float(file.read()), config["name"])
